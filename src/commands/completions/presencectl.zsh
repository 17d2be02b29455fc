#compdef presencectl
# zsh completion for presencectl. The binary itself knows the answers: commands, flags, profiles, and the users and
# channels of the last query.
_presencectl() {
    # Of the last word, what stands before the cursor counts.
    local -a found=("${(@f)$(
        PRESENCECTL_COMPLETE=zsh _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((CURRENT - 1)) \
            presencectl -- "${(@Q)words[1,CURRENT - 1]}" "${(Q)PREFIX}" 2>/dev/null
    )}")
    found=(${found:#})
    # More may follow a folder, a list, a flag or a type.
    local -a open=() whole=()
    local candidate
    for candidate in $found; do
        if [[ $candidate == *[/,=] || $candidate == *\\: ]]; then
            open+=("$candidate")
        else
            whole+=("$candidate")
        fi
    done
    local result=1
    (( $#whole )) && _describe -V 'presencectl' whole && result=0
    (( $#open )) && _describe -V 'presencectl' open -S '' && result=0
    return result
}

if [[ $funcstack[1] == _presencectl ]]; then
    _presencectl "$@"
else
    compdef _presencectl presencectl
fi
