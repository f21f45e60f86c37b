//! Snapshot → Prometheus families.
