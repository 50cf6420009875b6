//! The eBPF object: its maps in the kernel, and its programs, ready to be loaded.
//!
//! aya-obj reads and relocates the object. aya's loader is not used: it parses all of the kernel's types before it begins
//! and searches them for each program, which took a third of a start, and 20 MiB.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use aya::maps::{Map, MapData, MapError};
use aya_obj::EbpfSectionKind;
use aya_obj::btf::BtfFeatures;
use aya_obj::generated::{bpf_insn, bpf_map_type};

use super::bpf;
use super::error::LoadError;

/// What 5.10 knows of BTF; the objects contain nothing newer.
const FEATURES: BtfFeatures = BtfFeatures::new(true, true, true, false, false, false, false, false);

/// The maps of an object, and its programs once it is [finished](Object::finish).
pub(super) struct Object {
    maps: HashMap<String, Map>,
    programs: HashMap<String, Code>,
    types: OwnedFd,
}

/// What is left to be done with an object.
pub(super) struct Unfinished {
    object: aya_obj::Object,
    /// With the descriptors of their maps, which have to stay open.
    definitions: Vec<(String, RawFd, aya_obj::Map)>,
}

/// A program of the object.
pub(super) struct Code {
    /// Instructions, and those of the functions that it calls.
    pub instructions: Vec<u8>,
    /// `struct bpf_func_info` of these.
    pub functions: Vec<u8>,
    /// `struct bpf_line_info` of these.
    pub lines: Vec<u8>,
    pub license: CString,
}

impl Object {
    /// Reads an object and creates its maps, with these numbers of entries instead of their own. Maps of variables follow
    /// when the object is finished.
    ///
    /// # Errors
    ///
    /// The kernel lacks a type of map, or memory.
    pub fn create(bytes: &[u8], entries: &[(&str, u32)]) -> Result<(Self, Unfinished), LoadError> {
        let mut object = aya_obj::Object::parse(bytes).map_err(LoadError::object)?;
        let types = object.fixup_and_sanitize_btf(&FEATURES).map_err(LoadError::object)?;
        let types = types.ok_or(LoadError::Missing("types"))?.to_bytes();
        let types = bpf::load_btf(&types).map_err(LoadError::object)?;
        let (variables, definitions): (HashMap<_, _>, HashMap<_, _>) =
            std::mem::take(&mut object.maps).into_iter().partition(|(_, map)| is_variables(map));
        object.maps = variables;
        let mut made = Self { maps: HashMap::new(), programs: HashMap::new(), types };
        let mut unfinished = Unfinished { object, definitions: Vec::new() };
        for (name, mut definition) in definitions {
            if let Some((_, entries)) = entries.iter().find(|(other, _)| *other == name) {
                definition.set_max_entries(*entries);
            }
            if definition.map_type() == bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32 {
                // The declared type is of no meaning to the kernel.
                definition.set_value_size(0);
            }
            let map = create_map(&name, &definition, made.types.as_fd()).map_err(LoadError::object)?;
            made.add(map, name, definition, &mut unfinished)?;
        }
        Ok((made, unfinished))
    }

    /// Sets the read-only variables to these values and prepares the programs.
    ///
    /// # Errors
    ///
    /// The object has no such variable, or the kernel refuses to create a map.
    pub fn finish(&mut self, mut unfinished: Unfinished, values: &[(&str, &[u8])]) -> Result<(), LoadError> {
        let object = &mut unfinished.object;
        let values = values.iter().map(|&(name, value)| (name, (value, true))).collect();
        object.patch_map_data(values).map_err(LoadError::object)?;
        for (name, definition) in std::mem::take(&mut object.maps) {
            let map = create_map(&name, &definition, self.types.as_fd()).map_err(LoadError::object)?;
            let fd = map.fd().as_fd();
            if !definition.data().is_empty() {
                // SAFETY: the value is the section, and has its size.
                unsafe { bpf::set_element(fd, 0, definition.data().as_ptr()) }.map_err(LoadError::object)?;
            }
            if definition.section_kind() == EbpfSectionKind::Rodata {
                bpf::freeze(fd).map_err(LoadError::object)?;
            }
            self.add(map, name, definition, &mut unfinished)?;
        }
        let Unfinished { mut object, definitions } = unfinished;
        let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let maps = definitions.iter().map(|(name, fd, definition)| (name.as_str(), *fd, definition));
        object.relocate_maps(maps, &sections).map_err(LoadError::object)?;
        object.relocate_calls(&sections).map_err(LoadError::object)?;
        for (name, program) in std::mem::take(&mut object.programs) {
            if let Some(function) = object.functions.remove(&program.function_key()) {
                let code = Code {
                    instructions: bytes(&function.instructions),
                    functions: function.func_info.func_info_bytes(),
                    lines: function.line_info.line_info_bytes(),
                    license: program.license,
                };
                self.programs.insert(name, code);
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        map: MapData,
        name: String,
        definition: aya_obj::Map,
        unfinished: &mut Unfinished,
    ) -> Result<(), LoadError> {
        unfinished.definitions.push((name.clone(), map.fd().as_fd().as_raw_fd(), definition));
        self.maps.insert(name, Map::from_map_data(map).map_err(LoadError::object)?);
        Ok(())
    }

    /// The map of this name.
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.maps.get(name)
    }

    /// The map of this name.
    pub fn map_mut(&mut self, name: &str) -> Option<&mut Map> {
        self.maps.get_mut(name)
    }

    /// Takes a map out of the object.
    pub fn take_map(&mut self, name: &str) -> Option<Map> {
        self.maps.remove(name)
    }

    /// The program of this name.
    pub fn program(&self, name: &str) -> Option<&Code> {
        self.programs.get(name)
    }

    /// The instructions of each program, to replace some before the load.
    pub fn instructions_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.programs.values_mut().map(|code| code.instructions.as_mut_slice())
    }

    /// The object's types, in the kernel.
    pub fn types(&self) -> BorrowedFd<'_> {
        self.types.as_fd()
    }

    /// Drops the programs.
    pub fn drop_programs(&mut self) {
        self.programs = HashMap::new();
    }
}

/// Whether a map holds variables.
fn is_variables(map: &aya_obj::Map) -> bool {
    matches!(map.section_kind(), EbpfSectionKind::Bss | EbpfSectionKind::Data | EbpfSectionKind::Rodata)
}

fn create_map(name: &str, definition: &aya_obj::Map, types: BorrowedFd<'_>) -> Result<MapData, MapError> {
    let Some(inner) = definition.inner() else {
        return MapData::create(definition.clone(), name, Some(types));
    };
    let inner = MapData::create(inner, name, Some(types))?;
    let outer = bpf::create_array_of_maps(name, definition, inner.fd().as_fd());
    MapData::from_fd(outer.map_err(|io_error| MapError::CreateError { name: name.to_owned(), io_error })?)
}

/// The bytes of instructions.
fn bytes(instructions: &[bpf_insn]) -> Vec<u8> {
    // SAFETY: `bpf_insn` is the kernel's C struct of eight bytes, without padding.
    unsafe { std::slice::from_raw_parts(instructions.as_ptr().cast::<u8>(), size_of_val(instructions)) }
        .to_vec()
}
