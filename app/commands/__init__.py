"""The command line: each verb parses, acts once, and answers with one value that is shown as JSON, a table or TSV."""
