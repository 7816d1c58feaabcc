"""Kafka's own command-line tools against a broker, from the jars of one release."""
