"""Search spaces as data, samplers that can be resumed exactly, and seeds."""
