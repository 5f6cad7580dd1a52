//! Holds `SECURITY.md` to what it names: the tests that show what is defended.

use std::{fs, path::Path};

#[test]
fn every_test_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("SECURITY.md")).expect("readable");
    let named: Vec<_> = page.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
    assert!(named.len() > 30, "the page names its tests");
    for name in named {
        let (module, test) = name.rsplit_once("::").expect("a path");
        let module = root.join("tests/it").join(module.replace("::", "/"));
        let file = [module.with_extension("rs"), module.join("mod.rs")].into_iter().find(|file| file.exists());
        let file = file.unwrap_or_else(|| panic!("{name}: there is no such module"));
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {}: {error}", file.display()));
        assert!(text.contains(&format!("fn {test}(")), "{name} is not in {}", file.display());
    }
}
