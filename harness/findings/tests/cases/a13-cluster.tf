variable "maps" { type = list(string) }
resource "lxd_instance" "web" {
  name = "web"
  config = {
    "security.delegate_bpf"           = "true"
    "security.delegate_bpf.cmd_types" = "map_create"
    "security.delegate_bpf.map_types" = join(":", var.maps)
  }
}
