//! Which files are read, and reading them with a limit.

use crate::error::ConfigError;
use crate::toml_source::MAX_TEXT_BYTES;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The name of the file that is looked for when none is named, before its extension.
const DEFAULT_STEM: &str = "tidings";

/// The languages in which a configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Toml,
    Yaml,
}

/// Every extension that is looked for, and what it means.
const EXTENSIONS: [(&str, Format); 3] = [
    ("toml", Format::Toml),
    ("yaml", Format::Yaml),
    ("yml", Format::Yaml),
];

impl Format {
    /// What a file holds, by its extension; any other than those of YAML is TOML.
    pub(crate) fn of(path: &Path) -> Self {
        let extension = path.extension().map(|extension| extension.to_string_lossy());
        EXTENSIONS
            .into_iter()
            .find(|(known, _)| {
                extension
                    .as_deref()
                    .is_some_and(|it| it.eq_ignore_ascii_case(known))
            })
            .map_or(Self::Toml, |(_, format)| format)
    }
}

/// The files that are looked for when none is named.
pub(crate) fn defaults(directory: &Path) -> Vec<PathBuf> {
    let names = EXTENSIONS.map(|(extension, _)| format!("{DEFAULT_STEM}.{extension}"));
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// Those that exist. More than one is a mistake: which of them counts would be a secret of ours.
pub(crate) fn existing(files: Vec<PathBuf>) -> Result<Option<PathBuf>, ConfigError> {
    let mut found: Vec<PathBuf> = files.into_iter().filter(|path| path.exists()).collect();
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(ConfigError::Competing {
            files: found.iter().map(|path| path.display().to_string()).collect(),
        }),
    }
}

/// The whole of a file, unless it is far too large: a device or a log may be named by mistake.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_TEXT_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {MAX_TEXT_BYTES} bytes"),
        ));
    }
    Ok(bytes)
}

/// The text of a configuration file; none if there is no such file.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |reason: String, source| ConfigError::Read {
        file: path.display().to_string(),
        reason,
        source,
    };
    match read_bounded(path) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| failed("it is not UTF-8 text; save it as UTF-8".to_owned(), None)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.to_string(), Some(error))),
    }
}

/// The error for a file that was named and does not exist.
pub(crate) fn missing(path: &Path) -> ConfigError {
    ConfigError::Read {
        file: path.display().to_string(),
        reason: "there is no such file; create it or name another".to_owned(),
        source: None,
    }
}

/// The file of a profile: `tidings.toml` becomes `tidings.prod.toml`, or one of the other extensions.
pub(crate) fn with_profile(file: &Path, profile: &str) -> Vec<PathBuf> {
    let same = beside(file, profile);
    let is_known = |path: &Path| {
        let extension = path.extension().map(|extension| extension.to_string_lossy());
        EXTENSIONS
            .iter()
            .any(|(known, _)| extension.as_deref() == Some(*known))
    };
    if !is_known(file) {
        return vec![same];
    }
    let others = EXTENSIONS.map(|(extension, _)| same.with_extension(extension));
    let mut files = vec![same];
    files.extend(
        others
            .into_iter()
            .filter(|other| Some(other) != files.first())
            .collect::<Vec<_>>(),
    );
    files
}

fn beside(file: &Path, profile: &str) -> PathBuf {
    let extension = file
        .extension()
        .map(|extension| extension.to_string_lossy().into_owned());
    let stem = file
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    file.with_file_name(match extension {
        Some(extension) => format!("{stem}.{profile}.{extension}"),
        None => format!("{stem}.{profile}"),
    })
}

/// A profile becomes part of a file name, so it must not lead elsewhere.
pub(crate) fn check_profile(profile: &str) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !profile.is_empty() && profile.len() <= 64 && profile.chars().all(plain) {
        return Ok(());
    }
    Err(ConfigError::Profile {
        profile: profile.chars().take(64).collect(),
        reason: "a profile is one word of letters, digits, - and _, for example prod".to_owned(),
    })
}

/// The error for a profile without a file: most likely its name is mistyped, and starting without it would run, say,
/// production with the settings of development.
pub(crate) fn profile_without_file(profile: &str, looked_for: &[PathBuf]) -> ConfigError {
    let files: Vec<_> = looked_for.iter().map(|path| path.display().to_string()).collect();
    ConfigError::Profile {
        profile: profile.to_owned(),
        reason: format!(
            "there is no {}; create it (it may be empty) or choose another profile",
            files.join(" or ")
        ),
    }
}
