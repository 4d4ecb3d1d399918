//! Files that tests compare their output with. Owns `BLESS`, by which `cargo xtask bless` has them written anew.

use std::path::Path;

/// Compares with the file, or writes it when that is wanted. `filter` is what to give `cargo xtask bless` for it.
pub(crate) fn expect_file(file: &Path, found: &str, filter: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("it can be made");
        std::fs::write(file, found).expect("the file can be written");
        return;
    }
    let wanted = std::fs::read_to_string(file).unwrap_or_default();
    let differs = found.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
    assert!(
        found == wanted,
        "{} differs, first at (new, old) {differs:#?}; `cargo xtask bless {filter}` writes it anew",
        file.display()
    );
}
