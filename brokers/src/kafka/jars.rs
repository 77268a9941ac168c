//! Kafka's own programs, fetched once through Maven.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::BrokersError;
use crate::place;
use crate::programs::{self, Run};

/// The version that is fetched.
pub(crate) const VERSION: &str = "4.1.1";

/// A first fetch brings 54 MB.
const FETCH_PATIENCE: Duration = Duration::from_secs(600);

/// Names and sizes of everything that was fetched; written last, so its absence tells of an unfinished fetch.
const LIST: &str = "complete";

/// Without these nothing starts; a list that lacks one is not believed.
const ESSENTIAL: [&str; 3] = ["kafka_2.13", "kafka-clients", "kafka-tools"];

fn pom() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>\
             </dependency>\n"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.apache.kafka", "kafka-tools", VERSION),
        dependency("org.apache.logging.log4j", "log4j-core", "2.24.3"),
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
    ];
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\n\
         <groupId>tidings</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>\n{}\
         </dependencies></project>\n",
        dependencies.concat()
    )
}

/// A complete directory of jars.
#[derive(Debug, Clone)]
pub(crate) struct Jars {
    java: PathBuf,
    directory: PathBuf,
}

impl Jars {
    /// Looks for them, and fetches them when they are not there. One process fetches, others wait for it.
    pub(crate) fn get() -> Result<Self, BrokersError> {
        Self::get_in(&place::cache())
    }

    fn get_in(cache: &Path) -> Result<Self, BrokersError> {
        let java = programs::find(&programs::JAVA)?;
        let directory = cache.join(format!("kafka-{VERSION}"));
        if !is_complete(&directory) {
            std::fs::create_dir_all(cache).map_err(BrokersError::file("create", cache))?;
            let path = cache.join(format!("kafka-{VERSION}.lock"));
            let lock = File::create(&path).map_err(BrokersError::file("create", &path))?;
            lock.lock().map_err(BrokersError::file("lock", &path))?;
            if !is_complete(&directory) {
                fetch(&directory)?;
            }
        }
        Ok(Self { java, directory })
    }

    /// A Java program with everything in its reach; `flags` go to Java itself.
    pub(crate) fn command(&self, flags: &[OsString], class: &str, arguments: &[OsString]) -> Vec<OsString> {
        let mut command: Vec<OsString> = vec![self.java.clone().into()];
        command.extend_from_slice(flags);
        command.extend(["-cp".into(), self.directory.join("*").into(), class.into()]);
        command.extend_from_slice(arguments);
        command
    }

    /// A short run of one of Kafka's tools.
    pub(crate) fn tool(
        &self,
        class: &str,
        arguments: &[OsString],
        stdin: Vec<u8>,
        deadline: Duration,
    ) -> Run {
        // The first compiler is enough for a second's work, and halves it.
        let flags = ["-Xmx192m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"].map(OsString::from);
        let mut command = self.command(&flags, class, arguments).into_iter();
        let words: Vec<_> = arguments
            .iter()
            .map(|argument| argument.to_string_lossy())
            .collect();
        Run {
            program: command.next().map(PathBuf::from).unwrap_or_default(),
            arguments: command.collect(),
            variables: Vec::new(),
            directory: None,
            stdin,
            deadline,
            title: format!(
                "{} {}",
                class.rsplit('.').next().unwrap_or(class),
                words.join(" ")
            ),
        }
    }
}

/// Whether every file of the list is there with its size.
fn is_complete(directory: &Path) -> bool {
    let Ok(list) = std::fs::read_to_string(directory.join(LIST)) else {
        return false;
    };
    let is_there = |line: &str| {
        let Some((size, name)) = line.split_once(' ') else {
            return false;
        };
        let metadata = directory.join(name).metadata();
        metadata.is_ok_and(|metadata| size.parse() == Ok(metadata.len()))
    };
    list.lines().all(is_there) && missing(&list).is_none()
}

fn missing(list: &str) -> Option<String> {
    let jars = ESSENTIAL.map(|artifact| format!("{artifact}-{VERSION}.jar"));
    jars.into_iter()
        .find(|jar| !list.lines().any(|line| line.ends_with(&format!(" {jar}"))))
}

/// Fetches beside and renames, so that a fetch that is killed leaves nothing that looks like a whole one.
fn fetch(directory: &Path) -> Result<(), BrokersError> {
    let maven = programs::find(&programs::MAVEN)?;
    let beside = |what: &str| directory.with_file_name(format!("kafka-{VERSION}.{what}"));
    let (partial, project) = (beside("partial"), beside("project"));
    for old in [&partial, &project, &directory.to_owned()] {
        match std::fs::remove_dir_all(old) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(BrokersError::file("remove", old)(error));
            }
            _ => {}
        }
    }
    std::fs::create_dir_all(&project).map_err(BrokersError::file("create", &project))?;
    let pom_file = project.join("pom.xml");
    std::fs::write(&pom_file, pom()).map_err(BrokersError::file("write", &pom_file))?;
    let mut target = OsString::from("-DoutputDirectory=");
    target.push(&partial);
    let fetch = Run {
        program: maven,
        arguments: [
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
        ]
        .map(OsString::from)
        .into_iter()
        .chain([target])
        .collect(),
        variables: Vec::new(),
        directory: Some(project.clone()),
        stdin: Vec::new(),
        deadline: FETCH_PATIENCE,
        title: format!(
            "mvn dependency:copy-dependencies in {} (it needs the Maven repository, or a filled ~/.m2)",
            project.display()
        ),
    };
    fetch.run()?;
    let list = list(&partial)?;
    if let Some(jar) = missing(&list) {
        return Err(BrokersError::IncompleteJars {
            directory: partial,
            jar,
        });
    }
    let list_file = partial.join(LIST);
    std::fs::write(&list_file, list).map_err(BrokersError::file("write", &list_file))?;
    std::fs::rename(&partial, directory).map_err(BrokersError::file("rename", &partial))?;
    // It served its purpose; what is left of it is in nobody's way.
    let _ = std::fs::remove_dir_all(&project);
    Ok(())
}

fn list(directory: &Path) -> Result<String, BrokersError> {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).map_err(BrokersError::file("read", directory))? {
        let entry = entry.map_err(BrokersError::file("read", directory))?;
        let metadata = entry.metadata().map_err(BrokersError::file("read", directory))?;
        text.push_str(&format!(
            "{} {}\n",
            metadata.len(),
            entry.file_name().to_string_lossy()
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_complete_with_every_file_of_its_list_in_its_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let jars = ESSENTIAL.map(|artifact| format!("{artifact}-{VERSION}.jar"));
        for jar in &jars {
            std::fs::write(path(jar), "jar").unwrap();
        }
        assert!(!is_complete(directory.path()), "without a list");
        let whole = list(directory.path()).unwrap();
        std::fs::write(path(LIST), &whole).unwrap();
        assert!(is_complete(directory.path()));
        std::fs::write(path(&jars[0]), "ja").unwrap();
        assert!(!is_complete(directory.path()), "with a jar cut short");
        std::fs::write(path(&jars[0]), "jar").unwrap();
        std::fs::write(path(LIST), whole.lines().next().unwrap()).unwrap();
        assert!(
            !is_complete(directory.path()),
            "with a list that lacks Kafka itself"
        );
    }
}
