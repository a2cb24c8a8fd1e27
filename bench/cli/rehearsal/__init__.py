"""Rehearsal: the whole way from published files to tables, on files of the published layouts filled by rule.

It shows that loaders, methods, scoring and reports work together at full size before any real file is at hand. Its
numbers mean nothing, so they are kept in a project folder of their own and marked wherever they are shown.
"""
