"""OpenTelemetry in: metrics and logs over HTTP, gRPC and Kafka, to samples and events.

`decoder` reads messages to columns, `rights` says what a sender may speak of, `intake` makes
samples and events of them; `over_http`, `over_grpc` and `over_kafka` are the doors.
"""
