
# `cargo xtask …` in this project; the rest of `cargo …` is completed as it was before.
_cargo_xtask_root() {
    local folder=$PWD
    while [[ -n $folder ]]; do
        if [[ -d $folder/xtask && -d $folder/kernels && -d $folder/images && -d $folder/scenarios ]]; then
            print -rn -- $folder
            return 0
        fi
        folder=${folder%/*}
    done
    return 1
}

# The program of the project one is in, as last built; no key press starts a compiler.
_cargo_xtask_program() {
    local program=${CARGO_TARGET_DIR:-$(_cargo_xtask_root)/target}/debug/xtask
    [[ -x $program ]] || program=$_cargo_xtask_written_by
    [[ -x $program ]] && $program "$@"
}

_cargo_or_xtask() {
    local at=2
    while (( at < CURRENT )) && [[ ${words[at]} == [-+]* ]]; do
        (( at++ ))
    done
    if (( at < CURRENT )) && [[ ${words[at]} == xtask ]] && _cargo_xtask_root > /dev/null; then
        words=("${(@)words[at,-1]}")
        (( CURRENT -= at - 1 ))
        _clap_dynamic_completer_xtask
    else
        $_cargo_xtask_next "$@"
    fi
}

if [[ ${_comps[cargo]-} != _cargo_or_xtask ]]; then
    typeset -g _cargo_xtask_next=${_comps[cargo]:-_default}
fi
compdef _cargo_or_xtask cargo
