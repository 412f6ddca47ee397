"""The HTTP side of the API: who may ask, what an answer and an error look like, what is counted and logged."""
