//! The worker: a short-lived child of this program that runs one call and hands back plain data.
