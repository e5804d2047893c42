"""Who exists: what each source says of whom, joined to people and groups; SCIM filters compiled to SQL."""
