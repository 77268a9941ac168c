//! From the files and texts that are named to documents: [`read_all`].

use crate::error::ConfigError;
use crate::files::{Format, defaults, existing, missing, profile_without_file, read_text, with_profile};
use crate::node::Node;
use crate::{toml_source, yaml_source};
use std::fmt;
use std::path::{Path, PathBuf};

/// Something to read.
pub(crate) enum Source {
    File(PathBuf),
    Text {
        name: String,
        text: String,
        format: Format,
    },
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
    let mut reading = Reading {
        profile,
        documents: Vec::new(),
        has_profile: false,
        without_profile: Vec::new(),
    };
    if sources.is_empty() {
        match existing(defaults(directory)) {
            Ok(Some(path)) => reading.file(&path),
            // The file of a profile may stand alone.
            Ok(None) => reading.profile_of(&directory.join("tidings.toml")),
            Err(error) => reading.documents.push(Err(error)),
        }
    }
    for source in sources {
        match source {
            Source::Text { name, text, format } => reading.documents.push(parse(format, &text, &name)),
            Source::File(path) => reading.file(&directory.join(path)),
        }
    }
    reading.finish()
}

struct Reading<'a> {
    profile: Option<&'a str>,
    documents: Vec<Result<Node, ConfigError>>,
    has_profile: bool,
    without_profile: Vec<PathBuf>,
}

impl Reading<'_> {
    fn file(&mut self, path: &Path) {
        let document = read_file(path).unwrap_or_else(|| Err(missing(path)));
        self.documents.push(document);
        self.profile_of(path);
    }

    /// The file of the profile that belongs to a file.
    fn profile_of(&mut self, path: &Path) {
        let Some(profile) = self.profile else { return };
        let candidates = with_profile(path, profile);
        match existing(candidates.clone()) {
            Err(error) => self.documents.push(Err(error)),
            Ok(None) => self.without_profile.extend(candidates),
            Ok(Some(path)) => {
                let document = read_file(&path).unwrap_or_else(|| Err(missing(&path)));
                self.documents.push(document);
                self.has_profile = true;
            }
        }
    }

    fn finish(mut self) -> Vec<Result<Node, ConfigError>> {
        if let Some(profile) = self
            .profile
            .filter(|_| !self.has_profile && !self.without_profile.is_empty())
        {
            self.documents
                .push(Err(profile_without_file(profile, &self.without_profile)));
        }
        self.documents
    }
}

fn parse(format: Format, text: &str, name: &str) -> Result<Node, ConfigError> {
    match format {
        Format::Toml => toml_source::read_document(text, name),
        Format::Yaml => yaml_source::read_document(text, name),
    }
}

/// None if there is no such file.
fn read_file(path: &Path) -> Option<Result<Node, ConfigError>> {
    match read_text(path) {
        Ok(text) => text.map(|text| parse(Format::of(path), &text, &path.display().to_string())),
        Err(error) => Some(Err(error)),
    }
}
