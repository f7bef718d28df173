"""The folder of a run: its files, its page, and a page that may leave the house.

Imports `extraction` and the parts; imported by `auditing` and `commands`. To read: `run_folder`,
`kept_pieces`, `used_files`, `audit_file`, `checklist_files`, then the page: `run_page` (the steps),
`page_content`, `thumbnails`, `command_line`, `anonymous_page`; `audited_run` (what changes of a run
by its audit).
"""
