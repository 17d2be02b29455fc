# bash completion for presencectl. The binary itself knows the answers: commands, flags, profiles, and the users and
# channels of the last query.
_presencectl() {
    # bash also splits at `:` and `=`, which ids and --flag=value contain; what no space separates belongs together.
    local rest=$COMP_LINE gap i
    local -a words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        gap=${rest%%[![:space:]]*}
        rest=${rest#"$gap"}
        if [[ $i -eq 0 || -n $gap ]]; then
            words+=("${COMP_WORDS[i]}")
        else
            words[${#words[@]} - 1]+=${COMP_WORDS[i]}
        fi
        rest=${rest#"${COMP_WORDS[i]}"}
    done
    # Of the last word, what stands before the cursor counts.
    local current=${COMP_LINE:0:COMP_POINT}
    current=${current##*[[:space:]]}
    current=${current#[\"\']}
    words[${#words[@]} - 1]=$current

    local IFS=$'\013'
    COMPREPLY=($(
        PRESENCECTL_COMPLETE=bash _CLAP_IFS="$IFS" _CLAP_COMPLETE_INDEX="$((${#words[@]} - 1))" \
            presencectl -- "${words[@]}" 2>/dev/null
    ))
    # bash replaces only what follows its last split.
    local kept=${current%"${current##*[:=]}"}
    if [[ -n $kept && $COMP_WORDBREAKS == *[:=]* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"$kept"}")
    fi
    # More may follow a folder, a list, a flag or a type.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/,=:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
if [[ ${BASH_VERSINFO[0]} -gt 4 || ${BASH_VERSINFO[0]} -eq 4 && ${BASH_VERSINFO[1]} -ge 4 ]]; then
    complete -o bashdefault -o nosort -F _presencectl presencectl
else
    complete -o bashdefault -F _presencectl presencectl
fi
