"""The one way out: work ▶ look ▶ change ▶ look again."""
