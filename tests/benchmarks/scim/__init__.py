"""The SCIM door beside other SCIM servers and beside its floor, all measured in the same run."""
