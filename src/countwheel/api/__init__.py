"""The HTTP API. `openapi.yaml` is the contract and was written first; the code obeys it, and a test compares them."""
