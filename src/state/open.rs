//! Opening the state: one file, its schema brought up to date, every commit on disk before it is told.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::state::schema::STEPS;

/// How long a write waits for another process, such as `maas eval` beside a running server.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the state directory {path} cannot be made: {source}")]
    Directory { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} was written by a newer maas: its schema is {got}, this one reads up to {known}; \
         run the newer maas, or name another state directory"
    )]
    Newer { path: PathBuf, got: u32, known: usize },
    #[error("the disk that holds the state is full: free some space and try again")]
    StorageFull,
    #[error("the state holds a value that is not what it should be: {0}")]
    Corrupt(String),
    #[error("the state cannot be read or written: {0}")]
    Sqlite(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for StateError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::StorageFull,
            _ => Self::Sqlite(error),
        }
    }
}

/// The open state. Calls block on the disk: never make them on an async thread.
#[derive(Debug)]
pub struct Database {
    connection: Mutex<Connection>,
}

impl Database {
    /// Opens `<directory>/maas.db`, makes both when they are missing, and takes the schema's steps
    /// that the file has not taken yet.
    ///
    /// # Errors
    /// [`StateError`] when the directory cannot be made, the file is not ours or is newer than this
    /// program, or the disk is full.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        std::fs::create_dir_all(directory)
            .map_err(|source| StateError::Directory { path: directory.to_owned(), source })?;
        let path = directory.join("maas.db");
        let mut connection = Connection::open(&path)?;
        connection.busy_timeout(BUSY_WAIT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Nothing but the state directory need be writable.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        migrate(&mut connection, &path, STEPS)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        // SQLite rolls back what a panic left open, so what a poisoned lock guards is whole.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the steps that are missing, all or none.
fn migrate(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), StateError> {
    // Immediate: of two processes that open a new file at once, one waits for the other.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let taken: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let Some(missing) = usize::try_from(taken).ok().and_then(|taken| steps.get(taken..)) else {
        return Err(StateError::Newer { path: path.to_owned(), got: taken, known: steps.len() });
    };
    for (step, number) in missing.iter().zip(taken + 1..) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number)?;
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> u32 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_step_is_taken_once_and_a_failed_one_leaves_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let path = Path::new("test.db");
        let one = "CREATE TABLE one (a INTEGER)";
        migrate(&mut connection, path, &[one]).unwrap();
        migrate(&mut connection, path, &[one]).unwrap();
        assert_eq!(version(&connection), 1);

        let broken = ["x", "CREATE TABLE two (a INTEGER)", "CREATE TABLE one (a INTEGER)"];
        migrate(&mut connection, path, &broken).unwrap_err();
        assert_eq!(version(&connection), 1);
        assert!(connection.prepare("SELECT a FROM two").is_err());
    }

    #[test]
    fn a_state_of_a_newer_program_is_refused_and_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let database = Database::open(place.path()).unwrap();
        database.connection().pragma_update(None, "user_version", 99).unwrap();
        drop(database);
        let error = Database::open(place.path()).unwrap_err();
        assert!(matches!(error, StateError::Newer { .. }), "{error}");
        let connection = Connection::open(place.path().join("maas.db")).unwrap();
        assert_eq!(version(&connection), 99);
    }

    #[test]
    fn every_commit_waits_for_the_disk() {
        let place = tempfile::tempdir().unwrap();
        let database = Database::open(&place.path().join("a/b")).unwrap();
        let pragma = |name| -> String {
            let read = |row: &rusqlite::Row<'_>| {
                row.get::<_, rusqlite::types::Value>(0).map(|value| format!("{value:?}"))
            };
            database.connection().pragma_query_value(None, name, read).unwrap()
        };
        assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
        assert_eq!(pragma("synchronous"), "Integer(2)");
    }

    #[test]
    fn what_is_not_a_database_is_refused() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("maas.db"), "not a database ".repeat(100)).unwrap();
        assert!(matches!(Database::open(place.path()), Err(StateError::Sqlite(_))));
        let file = place.path().join("maas.db");
        assert!(matches!(Database::open(&file), Err(StateError::Directory { .. })));
    }
}
