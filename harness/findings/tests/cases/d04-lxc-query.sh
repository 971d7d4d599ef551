#!/bin/sh
lxc query -X PUT --data "{\"config\": {\"security.delegate_bpf\": \"true\", \"security.delegate_bpf.cmd_types\": \"map_creat\"}}" /1.0/instances/web
