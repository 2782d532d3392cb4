//! Opening a database, once it is known to be ours.

use std::path::Path;

use ledger::params::Params;
use rocksdb::Env;

use super::{database::Store, error::StoreError, identity, options::OPEN_FILES};

impl Store {
    /// Opens the database in the directory `path`, and creates it where there is none.
    pub fn open(path: impl AsRef<Path>, params: &Params) -> Result<Self, StoreError> {
        Self::open_with(path, params, OPEN_FILES)
    }

    /// The same with at most so many files held open.
    pub fn open_with(path: impl AsRef<Path>, params: &Params, open_files: u32) -> Result<Self, StoreError> {
        let path = path.as_ref();
        identity::refuse_foreign_directory(path)?;
        let store = Self::open_in(path, None, open_files)?;
        identity::settle(&store, params)?;
        Ok(store)
    }

    /// A database in memory, for simulators and tests. Nothing of it survives the last clone.
    pub fn in_memory(params: &Params) -> Result<Self, StoreError> {
        let env = Env::mem_env().map_err(StoreError::from)?;
        let store = Self::open_in(Path::new("/namestead"), Some(env), OPEN_FILES)?;
        identity::settle(&store, params)?;
        Ok(store)
    }
}
