//! The files of a new project: they lie in `templates/`, to be read as they are.

/// A file of a new project.
#[derive(Debug)]
pub(super) struct Template {
    /// Where it goes.
    pub(super) path: &'static str,
    /// Its text, with `{{…}}` where values go.
    pub(super) text: &'static str,
    /// Whether it is for those who asked for docker.
    pub(super) only_docker: bool,
}

const fn always(path: &'static str, text: &'static str) -> Template {
    Template {
        path,
        text,
        only_docker: false,
    }
}

/// All of them.
pub(super) const TEMPLATES: &[Template] = &[
    always("Cargo.toml", include_str!("../../../templates/Cargo.toml.txt")),
    always("src/lib.rs", include_str!("../../../templates/src/lib.rs.txt")),
    always("src/main.rs", include_str!("../../../templates/src/main.rs.txt")),
    always(
        "tests/flow.rs",
        include_str!("../../../templates/tests/flow.rs.txt"),
    ),
    always(
        "tidings.toml",
        include_str!("../../../templates/tidings.toml.txt"),
    ),
    always("README.md", include_str!("../../../templates/README.md.txt")),
    always(".gitignore", include_str!("../../../templates/gitignore.txt")),
    Template {
        path: "Dockerfile",
        text: include_str!("../../../templates/Dockerfile.txt"),
        only_docker: true,
    },
];

/// What goes into them.
#[derive(Debug)]
pub(super) struct Values<'a> {
    /// The project's name.
    pub(super) name: &'a str,
    /// Its name in code.
    pub(super) module: &'a str,
    /// The dependency on Tidings.
    pub(super) tidings: &'a str,
}

impl Values<'_> {
    /// The text with its values.
    pub(super) fn fill(&self, text: &str) -> String {
        text.replace("{{name}}", self.name)
            .replace("{{crate}}", self.module)
            .replace("{{tidings}}", self.tidings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_every_template_is_filled() {
        let values = Values {
            name: "my-shop",
            module: "my_shop",
            tidings: "version = \"1\"",
        };
        for template in TEMPLATES {
            let text = values.fill(template.text);
            assert!(!text.contains("{{") && !text.contains("}}"), "{}", template.path);
        }
    }
}
