"""Pages for people and programs that watch: for now the figures that Prometheus reads."""
