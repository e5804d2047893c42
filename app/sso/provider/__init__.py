"""Doorlist as the OpenID provider of its organisations' applications: who signed in here is signed in there, for as long as here."""
