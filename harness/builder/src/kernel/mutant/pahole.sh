#!/bin/sh
# Replaces pahole while mutants are built: makes type information once, and returns it from then on.
kept='@KEPT@'
into=
for argument; do
	case "$argument" in
	--version) exec pahole --version ;;
	--btf_encode_detached=*) into="${argument#*=}" ;;
	esac
	file="$argument"
done
if [ ! -e "$kept" ]; then
	pahole "$@" || exit
	if [ -n "$into" ]; then
		cp "$into" "$kept.new"
	else
		objcopy --dump-section ".BTF=$kept.new" "$file" /dev/null
	fi && mv "$kept.new" "$kept"
elif [ -n "$into" ]; then
	cp "$kept" "$into"
else
	objcopy --remove-section .BTF --add-section ".BTF=$kept" "$file"
fi
