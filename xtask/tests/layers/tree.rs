//! The modules of a crate as its sources declare them, with the paths that each mentions outside its tests.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, Meta, Token, UseTree,
    punctuated::Punctuated,
    spanned::Spanned as _,
    visit::{self, Visit},
};

/// The place of a module in [`Tree::modules`].
pub(crate) type Id = usize;
/// Reads a source file, if there is one.
pub(crate) type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// What a name of a module stands for.
pub(crate) enum Name {
    Module(Id),
    /// A function, a type, a constant, a macro.
    Item,
    Import(Vec<String>),
}

/// A path in the source of a module.
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// A module of a crate.
pub(crate) struct Module {
    /// The module at the top of its crate.
    pub(crate) root: Id,
    pub(crate) parent: Option<Id>,
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) names: BTreeMap<String, Vec<Name>>,
    /// What it imports by `use path::*`.
    pub(crate) globs: Vec<Vec<String>>,
    /// Whether a macro writes items of it, under names that are not seen here.
    pub(crate) has_written_items: bool,
    pub(crate) mentions: Vec<Mention>,
}

/// The modules of any number of crates.
#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) modules: Vec<Module>,
    /// The libraries, by the name that paths begin with.
    pub(crate) libraries: BTreeMap<String, Id>,
    /// Where `macro_rules!` defines a name, by crate.
    pub(crate) macros: HashMap<(Id, String), Id>,
}

impl Tree {
    /// Reads the crate whose top module is `file`.
    pub(crate) fn add(&mut self, file: &Path, read: Read) -> Result<Id, String> {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        self.add_file(None, "crate", file, folder, read)
    }

    fn add_file(
        &mut self,
        parent: Option<Id>,
        name: &str,
        file: &Path,
        folder: PathBuf,
        read: Read,
    ) -> Result<Id, String> {
        let source = read(file).ok_or_else(|| format!("cannot read {}", file.display()))?;
        let source = syn::parse_file(&source)
            .map_err(|error| format!("{}:{}: {error}", file.display(), error.span().start().line))?;
        self.add_module(parent, name, file, folder, &source.items, read)
    }

    fn add_module(
        &mut self,
        parent: Option<Id>,
        name: &str,
        file: &Path,
        folder: PathBuf,
        items: &[Item],
        read: Read,
    ) -> Result<Id, String> {
        let id = self.modules.len();
        self.modules.push(Module {
            root: parent.map_or(id, |parent| self.modules[parent].root),
            parent,
            name: name.to_owned(),
            file: file.to_owned(),
            names: BTreeMap::new(),
            globs: Vec::new(),
            has_written_items: false,
            mentions: Vec::new(),
        });
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            self.add_item(id, item, &folder, read)?;
        }
        Ok(id)
    }

    fn add_item(&mut self, id: Id, item: &Item, folder: &Path, read: Read) -> Result<(), String> {
        let name = match item {
            Item::Mod(module) => {
                let name = module.ident.to_string();
                let file = self.modules[id].file.clone();
                let child = match &module.content {
                    Some((_, items)) => self.add_module(Some(id), &name, &file, folder.join(&name), items, read)?,
                    None => {
                        let (file, folder) = module_file(module, &file, folder, read);
                        self.add_file(Some(id), &name, &file, folder, read)?
                    }
                };
                self.define(id, &name, Name::Module(child));
                return Ok(());
            }
            Item::Use(item) => {
                for import in imports(item) {
                    self.modules[id].mentions.push(Mention { path: import.path.clone(), line: import.line });
                    match import.name {
                        Some(name) => self.define(id, &name, Name::Import(import.path)),
                        None => self.modules[id].globs.push(import.path),
                    }
                }
                return Ok(());
            }
            Item::Macro(item) => {
                match &item.ident {
                    Some(name) => {
                        self.macros.insert((self.modules[id].root, name.to_string()), id);
                        self.define(id, &name.to_string(), Name::Item);
                    }
                    None => self.modules[id].has_written_items = true,
                }
                None
            }
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            Item::Union(item) => Some(&item.ident),
            Item::ForeignMod(_) => {
                self.modules[id].has_written_items = true;
                return Ok(());
            }
            _ => None,
        };
        if let Some(name) = name {
            self.define(id, &name.to_string(), Name::Item);
        }
        let mut mentions = Mentions::default();
        mentions.visit_item(item);
        self.modules[id].mentions.extend(mentions.found);
        Ok(())
    }

    fn define(&mut self, id: Id, name: &str, what: Name) {
        self.modules[id].names.entry(name.to_owned()).or_default().push(what);
    }
}

/// The file of `mod name;` in `file`, and the folder of that module's own children.
fn module_file(module: &syn::ItemMod, file: &Path, folder: &Path, read: Read) -> (PathBuf, PathBuf) {
    let name = module.ident.to_string();
    let path = module.attrs.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => {
            Some(literal(&pair.value.span().source_text()?)?.to_owned())
        }
        _ => None,
    });
    if let Some(path) = path {
        let file = file.parent().unwrap_or(Path::new("")).join(path);
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        return (file, folder);
    }
    let (flat, nested) = (folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs"));
    let file = if read(&flat).is_none() && read(&nested).is_some() { nested } else { flat };
    (file, folder.join(name))
}

/// What is between the quotation marks.
fn literal(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

/// One leaf of a `use`; without a name if it is a `*`.
struct Import {
    name: Option<String>,
    path: Vec<String>,
    line: usize,
}

fn imports(item: &syn::ItemUse) -> Vec<Import> {
    fn leaves(tree: &UseTree, path: &[String], found: &mut Vec<Import>) {
        let with = |name: &syn::Ident| match (name == "self", path) {
            (true, [_, ..]) => path.to_vec(),
            _ => path.iter().cloned().chain([name.to_string()]).collect(),
        };
        let mut leaf = |name: Option<&syn::Ident>, path: Vec<String>, line| {
            let name = name.map(|name| if name == "self" { path.last().unwrap().clone() } else { name.to_string() });
            found.push(Import { name, path, line });
        };
        match tree {
            UseTree::Path(tree) => leaves(&tree.tree, &with_segment(path, &tree.ident), found),
            UseTree::Name(tree) => leaf(Some(&tree.ident), with(&tree.ident), tree.span().start().line),
            UseTree::Rename(tree) => leaf(Some(&tree.rename), with(&tree.ident), tree.span().start().line),
            UseTree::Glob(tree) => leaf(None, path.to_vec(), tree.span().start().line),
            UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, path, found)),
        }
    }
    let start = if item.leading_colon.is_some() { vec![String::new()] } else { Vec::new() };
    let mut found = Vec::new();
    leaves(&item.tree, &start, &mut found);
    found
}

fn with_segment(path: &[String], name: &syn::Ident) -> Vec<String> {
    path.iter().cloned().chain([name.to_string()]).collect()
}

/// Whether these attributes leave something out of everything but tests.
fn is_test(attributes: &[Attribute]) -> bool {
    fn asks_for_test(meta: &Meta) -> bool {
        let parts = |list: &syn::MetaList| {
            list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).unwrap_or_default()
        };
        match meta {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(list) if list.path.is_ident("all") => parts(list).iter().any(asks_for_test),
            Meta::List(list) if list.path.is_ident("any") => parts(list).iter().all(asks_for_test),
            _ => false,
        }
    }
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg") && attribute.parse_args().is_ok_and(|meta| asks_for_test(&meta))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Collects the paths of an item.
#[derive(Default)]
struct Mentions {
    /// What the blocks around this place import, the innermost last.
    blocks: Vec<HashMap<String, Vec<String>>>,
    found: Vec<Mention>,
}

impl Mentions {
    fn mention(&mut self, mut path: Vec<String>, line: usize) {
        if let Some(import) = self.blocks.iter().rev().find_map(|block| block.get(&path[0])) {
            path.splice(..1, import.iter().cloned());
        }
        self.found.push(Mention { path, line });
    }

    /// The paths in what nobody parses: the input of a macro, an attribute.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |place: usize, sign: char| matches!(tokens.get(place), Some(TokenTree::Punct(found)) if found.as_char() == sign);
        let mut place = 0;
        while let Some(token) = tokens.get(place) {
            if let TokenTree::Group(group) = token {
                self.tokens(group.stream());
            }
            let TokenTree::Ident(first) = token else {
                place += 1;
                continue;
            };
            let mut path = vec![first.to_string()];
            let follows_path = place > 0 && is(place - 1, ':') && place > 1 && is(place - 2, ':');
            let is_field = place > 0 && is(place - 1, '.') && !(place > 1 && is(place - 2, '.'));
            place += 1;
            while is(place, ':')
                && is(place + 1, ':')
                && let Some(TokenTree::Ident(next)) = tokens.get(place + 2)
            {
                path.push(next.to_string());
                place += 3;
            }
            if !follows_path && !is_field && path.len() > 1 {
                self.mention(path, first.span().start().line);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Mentions {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.mention(path.segments.iter().map(|part| part.ident.to_string()).collect(), path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        if path.qself.as_ref().is_none_or(|own| own.position > 0) {
            return visit::visit_expr_path(self, path);
        }
        path.qself.iter().for_each(|own| self.visit_qself(own));
    }

    fn visit_type_path(&mut self, path: &'ast syn::TypePath) {
        if path.qself.as_ref().is_none_or(|own| own.position > 0) {
            return visit::visit_type_path(self, path);
        }
        path.qself.iter().for_each(|own| self.visit_qself(own));
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
            // serde's attributes name functions and modules in strings.
            for token in list.tokens.clone() {
                let Some(text) = literal(&token.to_string()).map(str::to_owned) else { continue };
                if let Ok(path) = syn::parse_str::<syn::Path>(&text)
                    && path.segments.len() > 1
                {
                    let path = path.segments.iter().map(|part| part.ident.to_string()).collect();
                    self.mention(path, token.span().start().line);
                }
            }
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    /// `pub(in path)` names a parent.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_block(&mut self, block: &'ast syn::Block) {
        let uses = block.stmts.iter().filter_map(|statement| match statement {
            syn::Stmt::Item(Item::Use(item)) if !is_test(&item.attrs) => Some(imports(item)),
            _ => None,
        });
        let uses: Vec<Import> = uses.flatten().collect();
        uses.iter().for_each(|import| self.found.push(Mention { path: import.path.clone(), line: import.line }));
        self.blocks.push(uses.into_iter().filter_map(|import| Some((import.name?, import.path))).collect());
        visit::visit_block(self, block);
        self.blocks.pop();
    }

    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_const(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_test(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !is_test(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if !is_test(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !is_test(&local.attrs) {
            visit::visit_local(self, local);
        }
    }
}
