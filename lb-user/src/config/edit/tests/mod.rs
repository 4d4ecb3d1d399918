//! Edits of backends, each on a file as people write it.

mod any_file;
mod refusals;
mod rules;
mod services;

use super::*;
use crate::config::{CheckKind, HealthCheck};

/// As people write it, with comments in every place.
const FILE: &str = r#"# The balancer of the shop.

[node]
name = "lb1"   # this machine
interfaces = [ "eth0" ]

[vip.A]
address = "10.80.0.100"

# The shop itself.
[service.web]
vips = [ "A" ]
port = 80

# web1 is the old machine.
[[service.web.backend]]
name = "web1"
address = "10.80.0.21:80"
# weight = 5 was too much

# A comment that stands alone.

# web2 is the new one.
[[service.web.backend]]
  name    = "web2" # indented
  address = "10.80.0.22:80"   # rack 4
  weight  = 2 # for now

[service.api] # not used yet
vips = "A"
port = 81
# The end.
"#;

/// The same backends in a list.
const LIST: &str = r#"[vip.A]
address = "10.80.0.100"
[service.web]
vips = "A"
backend = [
  # old machines
  { name = "web1", address = "10.80.0.21:80" }, # rack 3
  { name = "web2", address = "10.80.0.22:80" }  # rack 4
]
port = 80
"#;

fn service(name: &str) -> ServiceName {
    name.parse().unwrap()
}

fn backend(name: &str) -> BackendName {
    name.parse().unwrap()
}

fn web3() -> Backend {
    Backend {
        name: backend("web3"),
        addresses: vec!["10.80.0.23:80".parse().unwrap()],
        weight: Weight::default(),
        state: AdminState::Ready,
        max_flows: 0,
        names: Vec::new(),
    }
}

/// The lines only one of the texts has: `-` for the first, `+` for the second.
fn changed_lines(old: &str, new: &str) -> Vec<String> {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let same_front = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - same_front;
    let same_back = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let minus =
        old[same_front..old.len() - same_back].iter().map(|line| format!("-{}", line.trim_end_matches('\n')));
    let plus =
        new[same_front..new.len() - same_back].iter().map(|line| format!("+{}", line.trim_end_matches('\n')));
    minus.chain(plus).collect()
}

#[test]
fn a_new_weight_replaces_the_old_one_and_nothing_else() {
    let weight = Weight::new(7).unwrap();
    let edited = set_backend(FILE, &service("web"), &backend("web2"), Some(weight), None, None).unwrap();
    assert_eq!(changed_lines(FILE, &edited), ["-  weight  = 2 # for now", "+  weight  = 7 # for now"]);
}

#[test]
fn a_key_that_was_not_there_comes_below_the_last_one_indented_like_it() {
    let edited =
        set_backend(FILE, &service("web"), &backend("web2"), None, Some(AdminState::Drain), None).unwrap();
    assert_eq!(changed_lines(FILE, &edited), ["+  state = \"drain\""]);
    let edited =
        set_backend(FILE, &service("web"), &backend("web1"), None, Some(AdminState::Maint), None).unwrap();
    assert_eq!(changed_lines(FILE, &edited), ["+state = \"maint\""]);
}

#[test]
fn weight_and_state_can_be_set_together_and_again() {
    let (weight, state) = (Weight::new(0).unwrap(), AdminState::Ready);
    let edited =
        set_backend(FILE, &service("web"), &backend("web1"), Some(weight), Some(state), None).unwrap();
    assert_eq!(changed_lines(FILE, &edited), ["+weight = 0", "+state = \"ready\""]);
    let again =
        set_backend(&edited, &service("web"), &backend("web1"), Some(weight), Some(state), None).unwrap();
    assert_eq!(again, edited);
}

#[test]
fn nothing_to_set_changes_nothing() {
    assert_eq!(set_backend(FILE, &service("web"), &backend("web1"), None, None, None).unwrap(), FILE);
}

#[test]
fn keys_of_a_backend_in_a_list_are_set_within_its_braces() {
    let weight = Weight::new(7).unwrap();
    let edited = set_backend(LIST, &service("web"), &backend("web1"), Some(weight), None, None).unwrap();
    assert_eq!(
        changed_lines(LIST, &edited),
        [
            "-  { name = \"web1\", address = \"10.80.0.21:80\" }, # rack 3",
            "+  { name = \"web1\", address = \"10.80.0.21:80\", weight = 7 }, # rack 3",
        ]
    );
}

#[test]
fn a_backend_comes_behind_the_others_of_its_service() {
    let edited = add_backend(FILE, &service("web"), &web3()).unwrap();
    assert_eq!(
        changed_lines(FILE, &edited),
        ["+[[service.web.backend]]", "+name = \"web3\"", "+address = \"10.80.0.23:80\"", "+"]
    );
    assert!(edited.contains("# for now\n\n[[service.web.backend]]\nname = \"web3\""), "{edited}");
}

#[test]
fn a_backend_is_written_with_all_that_is_not_its_default() {
    let mut added = web3();
    added.addresses.push("[fd80::23]:80".parse().unwrap());
    added.weight = Weight::new(5).unwrap();
    added.state = AdminState::Drain;
    let edited = add_backend(FILE, &service("web"), &added).unwrap();
    assert!(edited.contains(
        "name = \"web3\"\naddress = [\"10.80.0.23:80\", \"[fd80::23]:80\"]\nweight = 5\nstate = \"drain\"\n"
    ));
}

#[test]
fn the_first_backend_of_a_service_comes_below_its_keys() {
    let file = FILE.replace("port = 81\n", "port = 81\n\n# Nothing of api.\n");
    let edited = add_backend(&file, &service("api"), &web3()).unwrap();
    assert!(edited.contains("port = 81\n\n[[service.api.backend]]\nname = \"web3\""), "{edited}");
    assert!(edited.ends_with("\n\n# Nothing of api.\n# The end.\n"), "{edited}");
}

#[test]
fn tables_without_blank_lines_between_stay_without() {
    let file = "[service.s]\nport = 1\n[[service.s.backend]]\nname = \"a\"\n[vip.A]\n";
    let edited = add_backend(file, &service("s"), &web3()).unwrap();
    let added = ["+[[service.s.backend]]", "+name = \"web3\"", "+address = \"10.80.0.23:80\""];
    assert_eq!(changed_lines(file, &edited), added);
}

#[test]
fn a_backend_added_to_a_list_has_a_line_of_its_own_where_the_others_have() {
    let edited = add_backend(LIST, &service("web"), &web3()).unwrap();
    assert_eq!(
        changed_lines(LIST, &edited),
        [
            "-  { name = \"web2\", address = \"10.80.0.22:80\" }  # rack 4",
            "+  { name = \"web2\", address = \"10.80.0.22:80\" },  # rack 4",
            "+  { name = \"web3\", address = \"10.80.0.23:80\" }",
        ]
    );
    let comma = LIST.replace("}  # rack 4", "},  # rack 4");
    let edited = add_backend(&comma, &service("web"), &web3()).unwrap();
    assert_eq!(changed_lines(&comma, &edited), ["+  { name = \"web3\", address = \"10.80.0.23:80\" },"]);
}

#[test]
fn a_backend_added_to_a_list_on_one_line_stays_on_it() {
    let add = |list: &str| {
        let file = format!("[service.s]\nbackend = {list}\nport = 1\n");
        let edited = add_backend(&file, &service("s"), &web3()).unwrap();
        edited.lines().nth(1).unwrap().trim_start_matches("backend = ").to_owned()
    };
    let web3 = "{ name = \"web3\", address = \"10.80.0.23:80\" }";
    assert_eq!(add("[]"), format!("[{web3}]"));
    assert_eq!(add("[{ name = \"a\" }]"), format!("[{{ name = \"a\" }}, {web3}]"));
    assert_eq!(add("[{ name = \"a\" }, ] # c"), format!("[{{ name = \"a\" }}, {web3}, ] # c"));
}

#[test]
fn a_removed_backend_takes_its_own_comments_along_and_no_others() {
    let edited = remove_backend(FILE, &service("web"), &backend("web1")).unwrap();
    assert_eq!(
        changed_lines(FILE, &edited),
        [
            "-# web1 is the old machine.",
            "-[[service.web.backend]]",
            "-name = \"web1\"",
            "-address = \"10.80.0.21:80\"",
            "-# weight = 5 was too much",
            "-",
        ]
    );
    let edited = remove_backend(FILE, &service("web"), &backend("web2")).unwrap();
    assert!(edited.contains("# A comment that stands alone.\n\n[service.api] # not used yet\n"), "{edited}");
    assert!(!edited.contains("web2"));
}

#[test]
fn removing_what_was_added_gives_the_file_back() {
    for file in [FILE, &FILE.replace("\n\n", "\n"), &FILE.replace('\n', "\r\n")] {
        for name in ["web", "api"] {
            let added = add_backend(file, &service(name), &web3()).unwrap();
            assert_eq!(remove_backend(&added, &service(name), &backend("web3")).unwrap(), file);
        }
    }
}

#[test]
fn a_backend_at_the_end_of_the_file_leaves_no_blank_lines_behind() {
    let file = "[service.s]\nport = 1\n\n[[service.s.backend]]\nname = \"a\"\n";
    assert_eq!(remove_backend(file, &service("s"), &backend("a")).unwrap(), "[service.s]\nport = 1\n");
}

#[test]
fn a_backend_alone_on_its_line_in_a_list_goes_with_the_line() {
    let edited = remove_backend(LIST, &service("web"), &backend("web1")).unwrap();
    assert_eq!(
        changed_lines(LIST, &edited),
        ["-  { name = \"web1\", address = \"10.80.0.21:80\" }, # rack 3"]
    );
    let edited = remove_backend(LIST, &service("web"), &backend("web2")).unwrap();
    assert_eq!(
        changed_lines(LIST, &edited),
        ["-  { name = \"web2\", address = \"10.80.0.22:80\" }  # rack 4"]
    );
}

#[test]
fn a_backend_in_a_list_on_one_line_goes_with_its_comma() {
    let remove = |list: &str, name: &str| {
        let file = format!("[service.s]\nbackend = {list} # c\nport = 1\n");
        let edited = remove_backend(&file, &service("s"), &backend(name)).unwrap();
        edited.lines().nth(1).unwrap().trim_start_matches("backend = ").to_owned()
    };
    let both = "[{ name = \"a\" }, { name = \"b\" }]";
    assert_eq!(remove(both, "a"), "[{ name = \"b\" }] # c");
    assert_eq!(remove(both, "b"), "[{ name = \"a\" }] # c");
    assert_eq!(remove("[{ name = \"a\" }, { name = \"b\" }, ]", "b"), "[{ name = \"a\" }, ] # c");
    assert_eq!(remove("[ { name = \"a\" }, ]", "a"), "[  ] # c");
}

#[test]
fn windows_line_ends_are_kept_and_used() {
    let file = FILE.replace('\n', "\r\n");
    let added = add_backend(&file, &service("web"), &web3()).unwrap();
    let set =
        set_backend(&added, &service("web"), &backend("web3"), None, Some(AdminState::Drain), None).unwrap();
    assert_eq!(set.matches('\n').count(), set.matches("\r\n").count());
    assert!(set.contains("address = \"10.80.0.23:80\"\r\nstate = \"drain\"\r\n"));
}

#[test]
fn a_file_that_does_not_end_with_a_line_end_is_edited_too() {
    let file = "[service.s]\nport = 1\n[[service.s.backend]]\nname = \"a\"";
    let added = add_backend(file, &service("s"), &web3()).unwrap();
    assert!(added.contains("name = \"a\"\n[[service.s.backend]]\nname = \"web3\""), "{added}");
    let weight = Weight::new(2).unwrap();
    let set = set_backend(file, &service("s"), &backend("a"), Some(weight), None, None).unwrap();
    assert!(set.ends_with("name = \"a\"\nweight = 2"), "{set}");
}
