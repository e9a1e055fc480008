"""A folder of results as one page that people look at; it decides nothing.

Everything comes from the files of the folder: neither the model nor a framework is imported.
"""
