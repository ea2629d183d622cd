//! Prints docs/errors.md: `cargo run -p domain --example errors > docs/errors.md`.

fn main() {
    print!("{}", domain::code::document());
}
