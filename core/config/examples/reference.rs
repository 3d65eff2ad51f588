//! Prints the reference page, for `cargo xtask reference`.

fn main() {
    print!("{}", postern_config::reference::markdown());
}
