//! Shared workload of the benchmarks.
