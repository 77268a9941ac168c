//! From the files and texts that are named to documents: [`read_all`].

use crate::error::ConfigError;
use crate::files::{DEFAULT_FILE, missing, profile_without_file, read_text, with_profile};
use crate::node::Node;
use crate::toml_source::read_document;
use std::fmt;
use std::path::{Path, PathBuf};

/// Something to read.
pub(crate) enum Source {
    File(PathBuf),
    Text { name: String, text: String },
}

impl fmt::Debug for Source {
    /// Without the text, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Text { name, .. } => f.write_str(name),
        }
    }
}

/// Every document or what is wrong with it, in the order in which later ones win.
pub(crate) fn read_all(
    directory: &Path,
    sources: Vec<Source>,
    profile: Option<&str>,
) -> Vec<Result<Node, ConfigError>> {
    let mut documents = Vec::new();
    let named = !sources.is_empty();
    let default = (!named).then(|| Source::File(DEFAULT_FILE.into()));
    let mut without_profile = Vec::new();
    let mut has_profile = false;
    for source in sources.into_iter().chain(default) {
        let path = match source {
            Source::Text { name, text } => {
                documents.push(read_document(&text, &name));
                continue;
            }
            Source::File(path) => directory.join(path),
        };
        match read_file(&path) {
            Some(document) => documents.push(document),
            None if named => documents.push(Err(missing(&path))),
            None => {}
        }
        let Some(profile) = profile else { continue };
        let path = with_profile(&path, profile);
        match read_file(&path) {
            Some(document) => {
                has_profile = true;
                documents.push(document);
            }
            None => without_profile.push(path),
        }
    }
    if let Some(profile) = profile.filter(|_| !has_profile && !without_profile.is_empty()) {
        documents.push(Err(profile_without_file(profile, &without_profile)));
    }
    documents
}

/// None if there is no such file.
fn read_file(path: &Path) -> Option<Result<Node, ConfigError>> {
    match read_text(path) {
        Ok(text) => text.map(|text| read_document(&text, &path.display().to_string())),
        Err(error) => Some(Err(error)),
    }
}
