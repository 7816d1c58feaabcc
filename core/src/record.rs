//! Kafka record batch v2 as the one record format.
