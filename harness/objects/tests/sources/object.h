// Everything that the test sources need, so that they include no other header.
#define SEC(name) __attribute__((section(name), used))
#define OUTSIDE(name) __attribute__((section(name)))
#define PROGRAM(section, name)                                                                                         \
	SEC(section) int name(void *context) { return 0; }
#define LICENSE(text) char LICENSE_TEXT[] __attribute__((section("license"), used)) = text;

// Members of a map definition, as libbpf reads them.
#define NUMBER(name, value) int(*name)[value]
#define TYPE(name, type) typeof(type) *name

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;
