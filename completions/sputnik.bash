# SPDX-License-Identifier: MIT
# Completion of sputnik for bash. Commands and options come from the program itself, so they are always its own.
_sputnik() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} cmd=${COMP_WORDS[1]} program=${COMP_WORDS[0]} values
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$program" help --commands-dump 2> /dev/null | cut -f 1) --version" -- "$cur")
        return
    fi
    if [ "$cmd" = help ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$program" help --commands-dump 2> /dev/null | cut -f 1)" -- "$cur")
        return
    fi
    if [ "${prev#--}" != "$prev" ]; then # the value of an option that takes one of several words
        values=$("$program" help --options-dump 2> /dev/null |
            awk -F '\t' -v c="$cmd" -v o="${prev#--}" '$1 == c && $3 == o && $4 ~ /\|/ { gsub(/\|/, " ", $4); print $4 }')
        if [ -n "$values" ]; then
            mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur")
            return
        fi
    fi
    case $cmd:$prev in
    convert:--type | synth:--type)
        mapfile -t COMPREPLY < <(compgen -W "$("$program" convert --list-types 2> /dev/null)" -- "$cur")
        return
        ;;
    data:data | keys:keys)
        mapfile -t COMPREPLY < <(compgen -W "$("$program" help "$cmd" 2> /dev/null | sed -n "1s/.* $cmd \([a-z|]*\).*/\1/p" | tr '|' ' ')" -- "$cur")
        return
        ;;
    chat:chat | serve:serve | run:run | eval:eval | bench:bench | inspect:inspect | tokenize:tokenize | logits:logits | perplexity:perplexity)
        [ "${cur#-}" = "$cur" ] && mapfile -t COMPREPLY < <(compgen -f -W nano -- "$cur") && return
        ;;
    pull:pull)
        mapfile -t COMPREPLY < <(compgen -W "$("$program" pull --list 2> /dev/null | cut -d ' ' -f 1)" -- "$cur")
        return
        ;;
    synth:synth)
        mapfile -t COMPREPLY < <(compgen -f -W "$("$program" synth --list 2> /dev/null)" -- "$cur")
        return
        ;;
    esac
    case $cur in
    -*)
        mapfile -t COMPREPLY < <(compgen -W "--help $("$program" help --options-dump 2> /dev/null |
            awk -F '\t' -v c="$cmd" '$1 == c { print "--" $3 }')" -- "$cur")
        ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    esac
}
complete -o filenames -F _sputnik sputnik
