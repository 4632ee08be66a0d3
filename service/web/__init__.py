"""The pages that people read in a browser: a search box, a paper with a place marked, the library.

Complete without JavaScript; nothing is loaded from elsewhere. `pages` has the routes, `outline` what a paper's page is
made of, `rendering` templates and static files, `markup` papers' text as safe HTML (read by `dialect`,
written by `writer`).
"""
