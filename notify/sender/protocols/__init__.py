"""The forms of requests to consumers, one module each: their Target, built once per change."""
