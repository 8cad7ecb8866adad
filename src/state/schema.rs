//! The tables, as the list of steps that make them. A step that was released is never changed: a new
//! one is added below it.

/// Each step's SQL; the file's `user_version` counts the ones that it has taken.
pub(super) const STEPS: &[&str] = &[
    "
    -- What a package scored on data, by what was measured and not by its name: a name moves on.
    CREATE TABLE evaluations (
        id               INTEGER PRIMARY KEY,
        package_digest   TEXT NOT NULL,
        data_digest      TEXT NOT NULL,
        data_description TEXT NOT NULL,
        metrics_json     TEXT NOT NULL,
        evaluated_at     TEXT NOT NULL  -- RFC 3339, UTC
    ) STRICT;
    CREATE INDEX evaluations_by_package ON evaluations (package_digest, id);
",
    "
    -- What batching wins a package on one kind of processor: measured once, in idle time.
    CREATE TABLE batch_curves (
        package_digest TEXT NOT NULL,
        processor      TEXT NOT NULL,
        curve_json     TEXT NOT NULL,
        PRIMARY KEY (package_digest, processor)
    ) STRICT;
",
];
