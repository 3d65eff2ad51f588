//! `cargo xtask build-plugins`

use std::path::PathBuf;

use crate::failure::Failure;
use crate::guests::{self, Component};
use crate::repository;

/// What to build, and where to put it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A cargo workspace of guests; may be given more than once.
    #[arg(long = "dir", value_name = "DIR", default_value = "plugins")]
    workspaces: Vec<PathBuf>,
    /// Where the components go.
    #[arg(long = "out", value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Builds and prints what was built.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let out = arguments.out.clone().unwrap_or_else(repository::components);
    let mut built = Vec::new();
    for workspace in &arguments.workspaces {
        built.extend(guests::build(&located(workspace), &out)?);
    }
    print!("{}", table(&built));
    println!("{}", repository::shown(&out));
    Ok(())
}

/// As given from the working directory, else as it reads from the repository's root.
fn located(workspace: &PathBuf) -> PathBuf {
    if workspace.join("Cargo.toml").exists() { workspace.clone() } else { repository::root().join(workspace) }
}

fn table(components: &[Component]) -> String {
    let mut rows = vec![["plugin", "size", "hooks", "imports", ""].map(str::to_owned)];
    rows.extend(components.iter().map(|component| {
        [
            component.name.clone(),
            kilobytes(component.bytes),
            listed(&component.hooks),
            listed(&component.imports),
            if component.rewritten { "rebuilt".to_owned() } else { "unchanged".to_owned() },
        ]
    }));
    let widths: [usize; 5] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    rows.iter().fold(String::new(), |mut text, row| {
        let cells = [
            format!("{:<1$}", row[0], widths[0]),
            format!("{:>1$}", row[1], widths[1]),
            format!("{:<1$}", row[2], widths[2]),
            format!("{:<1$}", row[3], widths[3]),
            row[4].clone(),
        ];
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
        text
    })
}

fn kilobytes(bytes: usize) -> String {
    format!("{}.{} kB", bytes / 1000, bytes % 1000 / 100)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_size_hooks_and_imports_of_each_component() {
        let component = Component {
            name: "sni-selector".to_owned(),
            path: PathBuf::from("sni-selector.wasm"),
            bytes: 71_234,
            hooks: vec!["cert-resolver".to_owned()],
            imports: vec!["bundle-directory".to_owned(), "wasi:io/poll@0.2.0".to_owned()],
            rewritten: true,
        };
        let lines: Vec<String> = table(&[component]).lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "plugin           size  hooks          imports");
        assert_eq!(lines[1], "sni-selector  71.2 kB  cert-resolver  bundle-directory, wasi:io/poll@0.2.0  rebuilt");
    }
}
