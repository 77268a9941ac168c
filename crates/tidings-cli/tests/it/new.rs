use crate::world::World;
use std::path::{Path, PathBuf};
use std::process::Command;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Beside the other results of the build, so that the second run of the tests finds what the first has built.
fn shared_target() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    target.join("new-project")
}

#[test]
fn a_new_project_compiles_and_its_tests_pass() {
    let world = World::new();
    let checkout = checkout();
    world.ok(&["new", "my-shop", "--path", checkout.to_str().unwrap(), "--docker"]);
    let project = world.path().join("my-shop");
    // The versions that this workspace is tested with: nothing newer is looked for.
    std::fs::copy(checkout.join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "test",
            "--offline",
            "--quiet",
            "--config",
            "profile.dev.debug=false",
        ])
        .current_dir(&project);
    cargo
        .env("CARGO_TARGET_DIR", shared_target())
        .env("RUSTFLAGS", "-D warnings");
    let output = cargo.output().unwrap();
    // What a machine that has built this workspace has at hand is enough.
    let versions = |lock: &Path| -> Vec<String> {
        let text = std::fs::read_to_string(lock).unwrap();
        let packages = text
            .split("[[package]]")
            .skip(1)
            .filter(|package| package.contains("checksum"));
        packages
            .map(|package| package.lines().skip(1).take(2).collect())
            .collect()
    };
    let known = versions(&checkout.join("Cargo.lock"));
    let mut new = versions(&project.join("Cargo.lock"));
    new.retain(|package| !known.contains(package));
    assert!(new.is_empty(), "{new:?}");
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("2 passed"), "{told}");
    assert!(project.join("Dockerfile").is_file() && project.join(".gitignore").is_file());
}

#[test]
fn a_project_depends_on_the_published_crates_unless_told_otherwise() {
    let world = World::new();
    let said = world.ok(&["new", "services/shop"]);
    assert_eq!(said.rows()[0]["name"], "shop");
    let manifest = std::fs::read_to_string(world.path().join("services/shop/Cargo.toml")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        manifest.contains(&format!("tidings = {{ version = \"{version}\" }}")),
        "{manifest}"
    );
    assert!(!world.path().join("services/shop/Dockerfile").exists());
    // Its configuration is one that this program reads, and that names its topics.
    let mut config = world.command(&["config", "--changed"]);
    let output = config
        .current_dir(world.path().join("services/shop"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn nothing_is_written_over_and_wrong_names_are_refused() {
    let world = World::new();
    std::fs::create_dir(world.path().join("shop")).unwrap();
    world.write("shop/mine", "x");
    world
        .say(&["new", "shop"])
        .refused(4, &["shop exists and is not empty"]);
    assert_eq!(std::fs::read_dir(world.path().join("shop")).unwrap().count(), 1);
    for name in ["Shop", "2shop", "test", "my shop"] {
        world
            .say(&["new", name])
            .refused(2, &["cannot be the name of a project"]);
    }
    world
        .say(&["new", "other", "--path", "."])
        .refused(3, &["no checkout of Tidings"]);
    assert!(!world.path().join("other").exists());
}
