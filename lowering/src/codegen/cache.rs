//! Compiled parts kept on disk, by what they were compiled from.

use super::{Options, Target};
use crate::Error;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Bytes that a folder may hold before the parts not used for longest go.
const LIMIT: u64 = 1 << 30;

/// What decides the code besides text, target and options: how text becomes code.
const COMPILER: [&str; 5] = [
    include_str!("mod.rs"),
    include_str!("mlir.rs"),
    include_str!("ftz.rs"),
    include_str!("llvm.rs"),
    include_str!("target.rs"),
];

/// A folder of compiled parts, which several processes may use at once.
///
/// A file is named by the SHA-256 hash of all that its code depends on: text, processor, options,
/// LLVM's version and this compiler's sources. It begins with the hash of its own content, so one
/// that was damaged is compiled again.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    limit: u64,
}

/// The place of one part.
pub(super) struct Entry {
    path: PathBuf,
}

impl Cache {
    /// The cache in a folder, which is made if it is not there; the longest unused files above 1 GiB
    /// are removed.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be made or read.
    pub fn open(folder: &Path) -> Result<Cache, Error> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let cache = Cache { folder: folder.into(), limit: LIMIT };
        cache.shrink().map_err(Error::io(folder))?;
        Ok(cache)
    }

    /// Removes the longest unused files above the limit.
    fn shrink(&self) -> std::io::Result<()> {
        let mut files = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            // One that another process has just removed needs no removing.
            let Ok(data) = file.metadata() else { continue };
            if data.is_file() && file.path().extension().is_some_and(|e| e == "part") {
                let used = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push((used, data.len(), file.path()));
            }
        }
        let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
        files.sort();
        for (_, len, path) in files {
            if bytes <= self.limit {
                break;
            }
            bytes -= len;
            // As above.
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    /// The place of the code of a module.
    pub(super) fn entry(&self, module: &str, target: &Target, options: &Options) -> Entry {
        let settings = format!("{target:?} {options:?} {}", super::llvm::version());
        let key = hash(&[&COMPILER[..], &[&settings, module]].concat());
        Entry { path: self.folder.join(format!("{key}.part")) }
    }
}

impl Entry {
    /// The code, if it is there whole.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        let bytes = fs::read(&self.path).ok()?;
        let (hash, code) = bytes.split_at_checked(Sha256::output_size())?;
        if Sha256::digest(code).as_slice() != hash {
            return None;
        }
        // A folder that may only be read still serves.
        let _ = File::options()
            .append(true)
            .open(&self.path)
            .and_then(|f| f.set_modified(SystemTime::now()));
        Some(code.to_vec())
    }

    /// Keep code, complete or not at all; what cannot be kept is compiled again next time.
    pub(super) fn write(&self, code: &[u8]) {
        let Some(folder) = self.path.parent() else { return };
        let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
            file.write_all(&Sha256::digest(code))?;
            file.write_all(code)?;
            Ok(file.persist(&self.path)?)
        });
        if let Err(error) = written {
            tracing::debug!(%error, path = %self.path.display(), "compiled code is not kept");
        }
    }
}

/// The SHA-256 hash of a list of texts, in hexadecimal digits.
pub(crate) fn hash(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(cache: &Cache, text: &str) -> Entry {
        cache.entry(text, &Target::host(), &Options::default())
    }

    #[test]
    fn code_is_found_again_unless_damaged_or_of_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("made")).unwrap();
        let entry = place(&cache, "module {}");
        assert_eq!(entry.read(), None);
        entry.write(b"code");
        assert_eq!(place(&cache, "module {}").read().as_deref(), Some(&b"code"[..]));
        assert_eq!(place(&cache, "module { }").read(), None);
        let other = Target::named("neoverse-n1").unwrap();
        assert_eq!(cache.entry("module {}", &other, &Options::default()).read(), None);
        let flushing = Options { flush_subnormals: false, ..Options::default() };
        assert_eq!(cache.entry("module {}", &Target::host(), &flushing).read(), None);
        fs::write(&entry.path, [fs::read(&entry.path).unwrap(), b"!".to_vec()].concat()).unwrap();
        assert_eq!(entry.read(), None);
        fs::write(&entry.path, b"short").unwrap();
        assert_eq!(entry.read(), None);
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(folder.path()).unwrap();
        let entries: Vec<Entry> = ["a", "b", "c"].iter().map(|t| place(&cache, t)).collect();
        for (age, entry) in entries.iter().enumerate() {
            entry.write(&[0; 100]);
            let used = SystemTime::now() - std::time::Duration::from_secs(100 - age as u64);
            File::options().append(true).open(&entry.path).unwrap().set_modified(used).unwrap();
        }
        assert!(entries[0].read().is_some());
        cache.limit = 300;
        cache.shrink().unwrap();
        assert_eq!(entries.iter().filter(|e| e.path.exists()).count(), 2);
        assert!(!entries[1].path.exists(), "the first was used since");
    }
}
