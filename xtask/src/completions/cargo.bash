
# `cargo xtask …` in this project; the rest of `cargo …` is completed as it was before.
_cargo_xtask_root() {
    local folder=$PWD
    while [[ -n $folder ]]; do
        if [[ -d $folder/xtask && -d $folder/kernels && -d $folder/images && -d $folder/scenarios ]]; then
            printf '%s' "$folder"
            return 0
        fi
        folder=${folder%/*}
    done
    return 1
}

# The program of the project one is in, as last built; no key press starts a compiler.
_cargo_xtask_program() {
    local program
    program=${CARGO_TARGET_DIR:-$(_cargo_xtask_root)/target}/debug/xtask
    [[ -x $program ]] || program=$_cargo_xtask_written_by
    [[ -x $program ]] && "$program" "$@"
}

_cargo_or_xtask() {
    local at=1
    while (( at < COMP_CWORD )) && [[ ${COMP_WORDS[at]} == [-+]* ]]; do
        (( at++ ))
    done
    if (( at < COMP_CWORD )) && [[ ${COMP_WORDS[at]} == xtask ]] && _cargo_xtask_root > /dev/null; then
        # Readline takes `--filter=x` for three words; to the program it is an option and its value.
        local word current=${COMP_WORDS[COMP_CWORD]} words=()
        for word in "${COMP_WORDS[@]:at:COMP_CWORD-at}"; do
            [[ $word == = ]] || words+=("$word")
        done
        [[ $current == = ]] && current=
        local COMP_CWORD=${#words[@]} COMP_WORDS=("${words[@]}" "$current")
        set -- cargo "$current" "${words[-1]}"
        _clap_complete_xtask "$@"
    else
        _cargo_xtask_before "$@"
    fi
}

# What completed `cargo` when this was read, or what bash-completion loads for it.
_cargo_xtask_before() {
    if [[ -z $_cargo_xtask_next ]]; then
        if declare -F _comp_load > /dev/null; then
            _comp_load cargo
        elif declare -F _completion_loader > /dev/null; then
            _completion_loader cargo
        fi
        _cargo_xtask_take_over
    fi
    [[ -z $_cargo_xtask_next ]] || "$_cargo_xtask_next" "$@"
}

_cargo_xtask_take_over() {
    local words word known
    read -ra words <<< "$(complete -p cargo 2> /dev/null)"
    for word in "${words[@]}"; do
        [[ $known == -F && $word != _cargo_or_xtask && $word != _minimal ]] && _cargo_xtask_next=$word
        known=$word
    done
    complete -o bashdefault -o default -F _cargo_or_xtask cargo
}
_cargo_xtask_take_over
