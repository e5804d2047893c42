"""Signing in: connections to identity providers, who may enter, and Doorlist as the provider of others."""
