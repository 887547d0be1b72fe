"""What Fanway's speed is measured with: whole runs (macro), parts (micro), scenarios (locust)."""
