use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn sources(files: &[(&str, &str)]) -> Sources {
    let (files, crates) = (map(files), map(&[("aya-ebpf", "0.2.1")]));
    Sources { hash: combined_hash(&files, &crates), crates, files }
}

fn record_of(sources: &Sources) -> Record {
    Record {
        sources: sources.hash.clone(),
        compiler: "rustc 1.96.0".into(),
        linker: "bpf-linker 0.13.0".into(),
        flags: vec!["-Ctarget-cpu=v3".into()],
        objects: map(&[("lb-xdp.o", "11")]),
        crates: sources.crates.clone(),
        files: sources.files.clone(),
    }
}

fn flags() -> Vec<String> {
    vec!["-Ctarget-cpu=v3".into()]
}

#[test]
fn an_unchanged_tree_has_no_differences() {
    let now = sources(&[("lb-ebpf/src/lib.rs", "aa")]);
    assert!(record_of(&now).differences(&now, &flags(), &map(&[("lb-xdp.o", "11")])).is_empty());
}

#[test]
fn a_changed_a_new_and_a_removed_file_are_each_named() {
    let then = sources(&[("a.rs", "1"), ("b.rs", "2")]);
    let now = sources(&[("b.rs", "3"), ("c.rs", "4")]);
    let found = record_of(&then).differences(&now, &flags(), &map(&[("lb-xdp.o", "11")]));
    assert_eq!(found, ["source b.rs has changed", "source c.rs is new", "source a.rs is gone"]);
}

#[test]
fn an_object_that_is_not_the_recorded_one_is_named() {
    let now = sources(&[("a.rs", "1")]);
    let found = record_of(&now).differences(&now, &flags(), &map(&[("lb-xdp.o", "22")]));
    assert_eq!(found, ["object lb-xdp.o has changed"]);
    assert_eq!(record_of(&now).differences(&now, &flags(), &map(&[])), ["object lb-xdp.o is gone"]);
}

#[test]
fn other_flags_make_the_object_stale() {
    let now = sources(&[("a.rs", "1")]);
    let found = record_of(&now).differences(&now, &[], &map(&[("lb-xdp.o", "11")]));
    assert_eq!(found, ["the compiler's flags have changed in xtask"]);
}

#[test]
fn the_dependencies_of_the_program_are_read_from_the_lock_file() -> Result<()> {
    let lock = "[[package]]\nname = \"aya-ebpf\"\nversion = \"0.2.1\"\n\n[[package]]\nname = \"aya\"\nversion = \"0.14.0\"\n";
    assert_eq!(locked_versions(lock)?, map(&[("aya-ebpf", "0.2.1")]));
    assert!(locked_versions("[[package]]\nname = \"aya\"\nversion = \"1.0.0\"\n").is_err());
    Ok(())
}

#[test]
fn test_sources_do_not_count() {
    assert!(is_test_source(Path::new("tests.rs")));
    assert!(is_test_source(Path::new("tests")));
    assert!(!is_test_source(Path::new("steer.rs")));
}

#[test]
fn a_record_survives_writing_and_reading() -> Result<()> {
    let record = record_of(&sources(&[("a.rs", "1")]));
    let text = toml::to_string(&record)?;
    assert_eq!(toml::from_str::<Record>(&text)?, record);
    Ok(())
}
