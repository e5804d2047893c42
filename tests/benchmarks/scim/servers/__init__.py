"""Programs that serve the other SCIM libraries, each written as a careful user of that library would."""
