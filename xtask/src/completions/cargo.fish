
# `cargo xtask …` in this project; the rest of `cargo …` is completed as it was before.
function __cargo_xtask_root
    set --local folder $PWD
    while test -n "$folder"
        if test -d $folder/xtask -a -d $folder/kernels -a -d $folder/images -a -d $folder/scenarios
            echo $folder
            return 0
        end
        set folder (string replace --regex '/[^/]*$' '' -- $folder)
    end
    return 1
end

# The program of the project one is in, as last built; no key press starts a compiler.
function _cargo_xtask_program
    set --local target (__cargo_xtask_root)/target
    set --query CARGO_TARGET_DIR; and set target $CARGO_TARGET_DIR
    set --local program $target/debug/xtask
    test -x "$program"; or set program $_cargo_xtask_written_by
    test -x "$program"; and $program $argv
end

# The words before the cursor from `xtask` on; fails where there are none.
function __cargo_xtask_words
    set --local words (commandline --current-process --tokenize --cut-at-cursor)[2..]
    while string match --quiet --regex '^[-+]' -- $words[1]
        set --erase words[1]
    end
    test "$words[1]" = xtask; and __cargo_xtask_root > /dev/null; or return 1
    printf '%s\n' $words
end

function __cargo_xtask_candidates
    set --local words (__cargo_xtask_words) (commandline --current-token)
    BPF_TOKEN_HARNESS_COMPLETE=fish _cargo_xtask_program -- $words
end

complete --command cargo --condition '__cargo_xtask_words > /dev/null' --keep-order --exclusive --arguments "(__cargo_xtask_candidates)"
