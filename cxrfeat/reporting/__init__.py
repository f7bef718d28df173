"""The folder of a run: its files, its page, and a page that may leave the house.

Imports `extraction` and the parts; imported by `commands`. To read: `run_folder`, `kept_pieces`,
`used_files`, `checklist_files`, then the page: `run_page` (the steps), `page_content`,
`thumbnails`, `command_line`, `anonymous_page`.
"""
