//! Record data and names of any bytes are judged without a panic, and a name that is read is written back the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resolver::{dns::{name::Dname, rdata}};

fuzz_target!(|input: (u16, &[u8])| {
    let (rtype, data) = input;
    rdata::is_well_formed(rtype, data);
    if let Ok((name, rest)) = Dname::split_wire(data) {
        let used = &data[..data.len() - rest.len()];
        assert!(name.as_wire().eq_ignore_ascii_case(used));
        assert_eq!(Dname::from_labels(name.labels()), Ok(name));
    }
});
